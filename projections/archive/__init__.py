"""Archives: the ledger as it is stored, in one file that proves itself."""
