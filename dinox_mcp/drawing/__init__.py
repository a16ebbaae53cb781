"""What goes out as an image; `views` makes the encoded images of replies, resources and files, and is read first."""
