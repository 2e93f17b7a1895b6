"""From one TOML file to running processes: spec → plan → node folders → supervised nodes."""
