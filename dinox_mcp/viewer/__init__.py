"""The page that shows results to people: beside a chat, served as a resource, or as a file of its own."""
