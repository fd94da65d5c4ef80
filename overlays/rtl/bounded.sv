// Lets bursts through whose bytes all lie in base..limit, and stops for good at the first that does
// not. Two steps, as a sum and two comparisons of 32 bits do not fit one cycle.
`default_nettype none
module bounded #(
  parameter int TAG = 1  // bits that travel along
) (
  input  wire            clk,
  input  wire            rst,
  input  wire  [   31:0] base,
  input  wire  [   31:0] limit,
  input  wire            in_valid,
  output wire            in_ready,
  input  wire  [   32:0] in_address,  // bit 32: it does not fit 32 bits
  input  wire  [    3:0] in_beats,    // less one
  input  wire  [TAG-1:0] in_tag,
  output wire            out_valid,
  input  wire            out_ready,
  output logic [   31:0] out_address,
  output logic [    3:0] out_beats,
  output logic [TAG-1:0] out_tag,
  output logic           outside
);
  logic valid1, valid2, over1;
  logic [31:0] address1, base1, limit1;
  logic [29:0] last1;
  logic [3:0] beats1;
  logic [TAG-1:0] tag1;
  wire step = !valid2 || (out_valid && out_ready);
  assign in_ready  = step;
  assign out_valid = valid2 && !outside;

  always_ff @(posedge clk)
    if (rst) begin
      valid1  <= 0;
      valid2  <= 0;
      outside <= 0;
    end else if (step) begin
      valid1  <= in_valid;
      valid2  <= valid1;
      outside <= valid1 && (over1 || last1[29] || address1 < base1
                            || {last1[28:0], 3'b111} >= limit1);
    end

  always_ff @(posedge clk)
    if (step) begin
      address1 <= in_address[31:0];
      over1 <= in_address[32];
      last1 <= {1'b0, in_address[31:3]} + {26'd0, in_beats};
      beats1 <= in_beats;
      tag1 <= in_tag;
      base1 <= base;
      limit1 <= limit;
      out_address <= address1;
      out_beats <= beats1;
      out_tag <= tag1;
    end
endmodule
`default_nettype wire
