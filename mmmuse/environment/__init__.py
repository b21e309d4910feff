"""What is installed, and what to do where it does not suffice; needs only the standard library."""
