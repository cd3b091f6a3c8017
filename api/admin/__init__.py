"""Routes for administrators and auditors: who may call stands in every signature."""
