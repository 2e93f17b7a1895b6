"""What is written: documents, whom they are about, and what each schema demands."""
