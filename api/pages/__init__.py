"""The service's pages: what customers, tills, vendors, administrators and auditors see in a browser."""
