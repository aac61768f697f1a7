"""What tests share: servers that they start, distributions that they make, a clean environment for clients."""
