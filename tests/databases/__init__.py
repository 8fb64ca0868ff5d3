"""What several connections do at once, on servers that let them: sqlite has its writers wait for each other."""
