"""What tests share: real servers on loopback, an independent Ready probe, the command line as a process."""
