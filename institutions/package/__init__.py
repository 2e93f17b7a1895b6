"""What is carried: the package that an issuer hands to a holder, and the parts it is made of."""
