"""``lowu simulate`` and its campaigns."""
