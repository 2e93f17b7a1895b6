"""What is done to a running network: links cut, leaders killed."""
