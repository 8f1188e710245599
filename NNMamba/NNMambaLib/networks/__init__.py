"""The nnMamba networks and the selective scan they run on."""
