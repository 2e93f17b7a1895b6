"""The roles of parties: issuer, verifier, holder, regulator, administrator."""
