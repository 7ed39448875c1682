"""Where the images are: a DICOM node that protects what it is sent, pushing, and watching a folder.

Only this part opens connections, and only to those who are named to it.
"""
