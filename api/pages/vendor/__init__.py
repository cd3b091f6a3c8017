"""The pages of a vendor, `/app`: what the API can do for a shop, done by people."""
