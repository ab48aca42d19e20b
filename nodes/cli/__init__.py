"""The command line. Owns what an operator types and sees; what decides and keeps is the node."""
