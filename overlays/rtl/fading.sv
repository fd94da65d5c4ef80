// Works out the weights of the draws of each batch, 64 of them, while its first data are on the way.
`default_nettype none
module fading (
  input  wire              clk,
  input  wire              rst,
  input  wire              launch,
  input  wire  [1:0][16:0] decay,
  input  wire              set,
  input  wire  [5:0]       draw,
  output wire  [15:0]      fade,
  output wire              known,
  output wire              busy_soon   // some batch's weights are not complete
);
  (* ram_style = "distributed" *) logic [15:0] fades[128];
  logic [1:0] waiting;
  logic busy, ours, multiplied;
  logic [5:0] at;
  logic [15:0] current;
  logic [32:0] product;
  wire [32:0] rounded = product + 33'd32768;
  assign fade  = fades[{set, draw}];
  assign known = ours == set ? !busy || draw < at : waiting == 0;
  assign busy_soon = busy || waiting != 0;

  always_ff @(posedge clk) begin
    product <= current * decay[ours];
    if (busy && !multiplied) fades[{ours, at}] <= current;
    if (!busy) current <= 16'd32768;
    else if (multiplied) current <= rounded[31:16];
  end
  always_ff @(posedge clk)
    if (rst) begin
      waiting <= 0;
      busy <= 0;
      ours <= 1;
      at <= 0;
      multiplied <= 0;
    end else begin
      waiting <= waiting + {1'b0, launch} - {1'b0, !busy && waiting != 0};
      if (!busy) begin
        multiplied <= 0;
        at <= 0;
        if (waiting != 0) begin
          busy <= 1;
          ours <= !ours;
        end
      end else begin
        multiplied <= !multiplied;
        if (multiplied) begin
          at <= at + 1'b1;
          busy <= at != 63;
        end
      end
    end
endmodule
`default_nettype wire
