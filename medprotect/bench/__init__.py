"""Research that no protection needs: our noise beside others, speed, and studies."""
