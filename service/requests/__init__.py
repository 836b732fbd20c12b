"""From a message on the bus to its reply: responder, dispatcher, batches of like requests."""
