"""What is timed: one module a case, one function a library, each on the same problem."""
