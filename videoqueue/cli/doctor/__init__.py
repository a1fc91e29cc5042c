"""doctor: examines settings, backends and machine, and names the remedy for what is wrong."""
