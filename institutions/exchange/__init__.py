"""What is shown to whom: requests, consent, presentations, receipts of erasure, trust."""
