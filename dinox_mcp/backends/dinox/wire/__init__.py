"""What is asked and answered on the wire, one module for each way to ask, and the way back to the caller's pixels."""
