"""What the jobs of the module charts do in Tryton."""
