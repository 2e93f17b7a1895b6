"""The package that an issuer hands to a holder, and its parts."""
