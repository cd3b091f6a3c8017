"""Pages of customers: joining a program, and the card in their hand."""
