"""Routes for the public: who may call stands in every signature."""
