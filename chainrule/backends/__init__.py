"""What runs programs: native code, XLA."""
