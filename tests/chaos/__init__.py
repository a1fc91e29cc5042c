"""The harness that kills the service, at random or at named steps, and then asks what was lost."""
