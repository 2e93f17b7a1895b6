"""Who acts: issuer, verifier, holder, regulator."""
