"""`millrace torture`: workers and broker die and freeze while events are answered; then count."""
