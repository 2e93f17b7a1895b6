"""The exchange between holder and receiver: requests, consent, presentations, erasure, trust."""
