"""Training of Perch's models: see ../train.py."""
