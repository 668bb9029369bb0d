"""The images: their matrix, their plan, the files made from it, and one that is really built."""
