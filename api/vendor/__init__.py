"""Routes for vendors and their tills: who may call stands in every signature."""
