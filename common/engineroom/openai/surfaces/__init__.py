"""OpenAI's Responses and Anthropic's Messages, made of chat completions: for every engine that has chat."""
