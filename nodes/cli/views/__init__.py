"""Documents as a person reads them, one module per family. Views lay out; they ask nobody and decide nothing.

A view takes a document as parsed JSON and must hold for any content that a peer may have sent: what is missing is left
out, what is unknown is shown as it is.
"""
