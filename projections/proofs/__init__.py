"""Proofs: what lets somebody outside check that nothing recorded was changed, left out or put in later."""
