"""What is installed, and what to do where it does not suffice; needs the standard library alone."""
