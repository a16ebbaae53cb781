"""What is made of a result: crops, cut-outs, redacted copies, and labels of other tools; `exporter` is read first."""
