"""`engineroom chat`: a chat in the terminal with any server of OpenAI's API, or with a model."""
