"""How fast the service is, beside the database itself and beside what one would write instead."""
