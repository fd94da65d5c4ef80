"""What a load needs: partitions, workers, memory and network, from costs that were measured."""
