"""What tests are made with: real programs, clients, scripted engines, a faulty network, judges of histories."""
