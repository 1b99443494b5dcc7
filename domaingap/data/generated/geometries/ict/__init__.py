"""ICT-FaceKit's light face model: 100 identities and 57 movements from registered scans (Li et al., CVPR 2020)."""
