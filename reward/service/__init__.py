"""The judge over HTTP: queue, authentication, our own endpoint and those of existing trainers."""
