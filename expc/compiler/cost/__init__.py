"""What a network costs: parameters, multiply-accumulates, and the bytes that training keeps."""
