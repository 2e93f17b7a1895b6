"""What is done to the folder of a network in its life: readmission, growth, archives."""
