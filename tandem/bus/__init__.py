"""The bus: one port, two adapters (`kafka`, `local`), and the consume loop that carries the guarantees."""
