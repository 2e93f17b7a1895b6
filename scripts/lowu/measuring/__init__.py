"""What benches and attacks share: networks to measure, rivals, reports, plots."""
